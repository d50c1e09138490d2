"""``churnlib doctor``: what a table can give, whether it suffices, what would help, and what is too good to be true."""
