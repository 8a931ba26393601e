"""How many replicas, and where, for data that change: availability forecast from what goes wrong, before anything is run.

    course.py       a plan's failures and cuts, as spans of time in which nothing changes
    membership.py   who keeps the data meanwhile, by mode, static or reconfigured, and which requests can be answered
    choose.py       m and places: the best of several, and the curve around them

A plan's churn and its cuts are the statistics: drawn from a model, or measured (a trace), with as many seeds as are wanted.
"""
