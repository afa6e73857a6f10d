# Record lme4's likelihood profile intervals for models with several random terms.
#
#   Rscript --vanilla tests/helpers/record_several_profile.R        (from the project's root)
#
# writes tests/helpers/reference/several_profile.json. The ends are interpolated by lme4 between points of its profile.

suppressMessages({library(lme4); library(jsonlite)})
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  d <- read.csv(if (file.exists(published)) published else file.path("tests/helpers/data", paste0(name, ".csv")))
  for (v in intersect(names(d), c("plate", "sample", "batch", "cask"))) d[[v]] <- factor(d[[v]])
  d
}
ends <- function(id, data, formula) {
  fit <- lmer(as.formula(formula), read(data), REML = FALSE,
              control = lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-13)))
  found <- suppressWarnings(confint(fit, quiet = TRUE, oldNames = TRUE))
  list(id = id, data = data, formula = formula, names = rownames(found), ends = unname(found))
}
cases <- list(
  ends("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
  ends("pastes", "pastes", "strength ~ 1 + (1 | batch/cask)"),
  ends("sleepstudy", "sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  ends("schools", "several_schools", "y ~ x + (1 | school/class/pupil)"))
write_json(list(versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))),
                cases = cases), "tests/helpers/reference/several_profile.json", auto_unbox = TRUE, digits = 12, pretty = TRUE)
