"""Whether a model treats groups of customers alike, and what treating them alike would cost."""
