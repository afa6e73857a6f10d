"""What a fit with several random terms says: such a fit comes in; variances, predictions, residuals
and checks by grouping factor go out."""
