"""Says how alike two representations are; never a label, never draws a picture."""
