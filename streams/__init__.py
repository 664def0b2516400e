"""The streaming service: topics, records, pure policy, the finisher and the Faust apps."""
