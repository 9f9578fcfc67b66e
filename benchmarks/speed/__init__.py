"""What an ensemble costs, each line a ratio measured side by side in one run, against an aim."""
