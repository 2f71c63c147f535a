"""What an edge reports: what may leave, kept on disk until it did, and sent.

`policy` says what may leave, `spool` keeps it, `state` how far it has come, `batch` makes an upload of it, and
`uploader` sends that until the platform has it.
"""
