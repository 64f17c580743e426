"""From a new method's file to its row: a template, the checks of a submission, and the rows that it changes."""
