"""A config reader: makes the setting `greeting` of the key `{{name}}:greeting`.

Workers whose manifest has `config = ["{{name}}"]` among its grants see it as `{{name}}.greeting`. It runs when it is loaded,
and again whenever the key changes. On an error the last good settings stay.
"""

import sandhog
from greeting import checked
from wit_world.imports import kv

# Where the greeting is.
KEY = "{{name}}:greeting"


def read():
    return {"greeting": checked(KEY, kv.get(KEY))}


ConfigSource = sandhog.config_reader(read)
