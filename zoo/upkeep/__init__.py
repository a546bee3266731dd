"""What is done beside loading: carry, look after, prove, convert, publish; nothing that loads imports it."""
