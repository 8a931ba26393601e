"""What is asked for: topologies, scenarios and the plan compiled from them. Pure data; imports nothing of ours."""
