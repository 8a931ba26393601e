"""Availability against the number of replicas: what runs measure, and what the planner said before (`opus bench availability`).

instances/     scenarios: hosts that come and go and regions that are cut off; regions that are cut off
worlds.py      their plans, with so many replicas in these places          played.py    one run, and what it counted
table.py       the planner's choice against the best number of replicas    curves.py    the pictures
"""
