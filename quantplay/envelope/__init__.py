"""Play 2: what is here, what a type will take there, and which type to try first."""
