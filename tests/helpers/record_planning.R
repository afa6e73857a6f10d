# Records power of two-sided t-tests by R's power.t.test (package stats): group means of a design
# with equal groups are independent with variance sigma2_g + sigma2 / m, so that it is the power of
# a predictor of groups. Run from the repository's root: Rscript tests/helpers/record_planning.R
designs <- expand.grid(effect = c(0.4, 1), per_arm = c(2, 4, 12), m = c(1, 5, 40), icc = c(0, 0.05, 0.3))
sd <- sqrt(designs$icc + (1 - designs$icc) / designs$m)
designs$power <- mapply(
  function(n, delta, sd) power.t.test(n = n, delta = delta, sd = sd, strict = TRUE)$power,
  designs$per_arm, designs$effect, sd
)
# a predictor of rows whose effect varies between groups: one difference from each, with
# variance sigma2_slope + sigma2 / (m / 4)
slopes <- expand.grid(effect = c(0.3, 0.8), groups = c(3, 8, 25), m = c(4, 20), sigma2_slope = c(0.1, 0.6))
slopes$power <- mapply(
  function(n, delta, sd) power.t.test(n = n, delta = delta, sd = sd, type = "one.sample", strict = TRUE)$power,
  slopes$groups, slopes$effect, sqrt(slopes$sigma2_slope + 1 / (slopes$m / 4))
)
round9 <- function(frame) { frame$power <- signif(frame$power, 9); frame }
write.csv(round9(designs), "tests/helpers/reference/power_of_groups.csv", row.names = FALSE, quote = FALSE)
write.csv(round9(slopes), "tests/helpers/reference/power_of_slopes.csv", row.names = FALSE, quote = FALSE)
