"""What an evaluation says about single classes: scores, tables and figures; and accuracy by layer."""
