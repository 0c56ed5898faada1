"""`qunce push` and `qunce pull-template`: what a lead unit sends from its own machine, over the open interface."""
