"""What granian serves: `granian --interface wsgi wsgi:app`, with the settings of the environment."""

import os

from ehc.app import create_app
from ehc.settings import Settings

app = create_app(Settings.from_env(os.environ))
