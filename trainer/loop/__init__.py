"""What every stage needs and none says: configs, the loop, states, the preflight, several processes, randomness."""
