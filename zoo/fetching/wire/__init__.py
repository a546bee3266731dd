"""What lies between this machine and the Hub: a bounded request, refusals in words, and the Hub client's own cache."""
