"""``python -m multispin_train COMMAND`` is the command ``multispin``."""

import sys

from multispin_train.cli import main

sys.exit(main())
