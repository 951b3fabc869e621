"""Users: who there is, under which name, and who may change whom."""
