# Record marginal means and their comparisons as R's emmeans gives them.
#
#   Rscript --vanilla tests/helpers/record_means.R        (from the project's root)
#
# writes tests/helpers/reference/means.json. Fits by lmerTest, so that Satterthwaite's df are there too.

suppressMessages({library(lmerTest); library(emmeans); library(jsonlite)})
emm_options(pbkrtest.limit = 1e5, lmerTest.limit = 1e5)
read <- function(name) {
  places <- c(file.path("datasets", paste0(name, ".csv")), file.path("tests/helpers/data", paste0(name, ".csv")))
  read.csv(places[file.exists(places)][1], stringsAsFactors = TRUE)
}
plain <- function(table) {
  table <- as.data.frame(table)
  table[] <- lapply(table, function(v) if (is.factor(v)) as.character(v) else v)
  table
}
case <- function(id, data, formula, specs, by = NULL, at = list(), adjust = "tukey", mode = "kenward-roger",
                 weights = "equal") {
  fit <- lmer(as.formula(formula), read(data), REML = TRUE,
              control = lmerControl(calc.derivs = FALSE, optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-14,
                                                                        xtol_rel = 0, ftol_rel = 0, maxeval = 1e5)))
  means <- emmeans(fit, specs, by = by, at = at, lmer.df = mode, weights = weights)
  pairs <- contrast(means, "pairwise", adjust = adjust)
  list(id = id, data = data, formula = formula, specs = specs, by = by, at = at, adjust = adjust, df = mode,
       weights = weights, means = plain(confint(means, adjust = "none")), tests = plain(summary(pairs)),
       limits = plain(suppressMessages(confint(pairs))))
}
cases <- list(
  case("feeding", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", "feeding"),
  case("feeding-holm", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", "feeding", adjust = "holm"),
  case("interaction", "dairy_herds", "milk_kg ~ parity * feeding + (1 | herd)", "feeding", by = "parity",
       at = list(parity = c(1, 3)), adjust = "sidak"),
  case("slope-in-groups", "bp_trial", "bp_reduction ~ factor(treatment) * hospital_type + baseline_sbp + (1 + treatment | hospital)",
       "treatment", by = "hospital_type", adjust = "none"),
  case("slope-satterthwaite", "bp_trial",
       "bp_reduction ~ factor(treatment) * hospital_type + baseline_sbp + (1 + treatment | hospital)",
       c("hospital_type", "treatment"), mode = "satterthwaite"),
  case("regions-proportional", "dairy_herds", "milk_kg ~ feeding + region + parity + (1 + parity | herd)", "region",
       weights = "proportional", adjust = "bonferroni"),
  case("crossed", "several_raters", "y ~ x + f + (1 | rater) + (1 | item)", "f"),
  case("cake", "several_cake", "angle ~ recipe * factor(temp) + (1 | recipe:replicate)", "recipe", by = "temp",
       mode = "satterthwaite"))
write_json(list(versions = sapply(c("lmerTest", "pbkrtest", "emmeans"), function(p) as.character(packageVersion(p))),
                cases = cases), "tests/helpers/reference/means.json", auto_unbox = TRUE, digits = 12, pretty = TRUE,
           null = "null")
