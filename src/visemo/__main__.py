"""`python -m visemo` is `visemo`."""

import sys

from visemo.cli import main

sys.exit(main())
