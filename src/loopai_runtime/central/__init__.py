"""The central platform: artifacts, news, execution for those who have no edge. Needs the extra `[central]`."""
