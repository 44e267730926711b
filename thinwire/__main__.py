"""`python -m thinwire` is the command line `thinwire`."""

import sys

from thinwire.cli.main import main

sys.exit(main())
