"""What any method may build on: records, the register, padded batches, exact arithmetic, the token grid."""
