"""The configuration: one frozen object, validated once and passed down.

    flag > LOOPAI_* environment > DATA_DIR/config/deployment.yaml (or --config FILE) > default

`sections` and `loop` say what can be set, `sources` where it is read from, `root` puts the two together, and
`edit` changes a file's text without disturbing the rest of it.
"""

from loopai_runtime.config.root import CONFIG_FILE, Config, chosen_data_dir, nested, require_key
from loopai_runtime.config.sections import default_data_dir
from loopai_runtime.config.sources import Origin

__all__ = ["CONFIG_FILE", "Config", "Origin", "chosen_data_dir", "default_data_dir", "nested", "require_key"]
