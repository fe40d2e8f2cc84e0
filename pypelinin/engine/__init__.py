"""The one set of rules that decides which job runs when; knows no attempt, node or time."""
