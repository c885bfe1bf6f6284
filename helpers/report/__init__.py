"""`make report`: what the records in report/ say, as tables, figures and a typeset report."""
