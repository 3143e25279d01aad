"""What the loop is made of: tasks, steps, sharding, checkpoints, runs."""
