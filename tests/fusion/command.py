"""The command `fusion`, called as a user calls it."""

from functools import partial

import fusion.commands
from tests.zoo import called

call = partial(called.call, fusion.commands.app)
