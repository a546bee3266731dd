"""Says which weights move, how fast and how long, and moves them; never chooses a model or judges on a test part."""
