"""What an evaluation says of single classes: scores, confusion, accuracy by layer, as tables and figures."""
