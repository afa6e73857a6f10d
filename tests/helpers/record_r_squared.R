# Record R2 and ICC as R's performance gives them.
#
#   Rscript --vanilla tests/helpers/record_r_squared.R        (from the project's root)
#
# writes tests/helpers/reference/r_squared.json. Shares by level for models of random intercepts only: performance
# says of its own that they are not accurate with slopes.

suppressMessages({library(lme4); library(performance); library(jsonlite)})
read <- function(name) {
  places <- c(file.path("datasets", paste0(name, ".csv")), file.path("datasets/published", paste0(name, ".csv")),
              file.path("tests/helpers/data", paste0(name, ".csv")))
  data <- read.csv(places[file.exists(places)][1], stringsAsFactors = TRUE)
  # performance fits the null model to rows that the model itself could not use
  data <- na.omit(data)
  if (name == "pastes") data$strong <- as.integer(data$cask == "c")
  data
}
tight <- lmerControl(calc.derivs = FALSE, optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-14, xtol_rel = 0,
                                                        ftol_rel = 0, maxeval = 1e5))
case <- function(id, data, formula, levels = FALSE, reml = TRUE) {
  table <- read(data)
  # performance refits the null model from the call, which must name what it can find
  fit <- eval(bquote(lmer(.(as.formula(formula)), .(table), REML = .(reml), control = tight)))
  r2 <- r2_nakagawa(fit)
  singular <- length(r2) < 2 || is.na(r2$R2_conditional)
  share <- if (singular) NULL else icc(fit)
  by <- NULL
  if (levels) {
    by <- as.data.frame(r2_nakagawa(fit, by_group = TRUE))
    by$Level <- as.character(by$Level)
  }
  list(id = id, data = data, formula = formula, reml = reml, singular = singular,
       marginal = if (singular) NULL else unname(r2$R2_marginal),
       conditional = if (singular) NULL else unname(r2$R2_conditional),
       adjusted = share$ICC_adjusted, unadjusted = share$ICC_unadjusted, levels = by)
}
cases <- list(
  case("sleepstudy-intercept", "sleepstudy", "Reaction ~ Days + (1 | Subject)", levels = TRUE),
  case("sleepstudy-slope", "sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  case("sleepstudy-uncorrelated", "sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  case("dairy", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", levels = TRUE),
  case("dairy-ml", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", reml = FALSE),
  case("bp-slope", "bp_trial", "bp_reduction ~ treatment + baseline_sbp + hospital_type + (1 + treatment | hospital)"),
  case("factor-slope", "unbalanced", "y ~ x + factor(z) + (1 + factor(z) | g)"),
  case("orthodont-slope", "orthodont", "distance ~ age * Sex + (1 + age | Subject)"),
  case("raters", "several_raters", "y ~ x + f + (1 | rater) + (1 | item)", levels = TRUE),
  case("pastes", "pastes", "strength ~ strong + (1 | batch) + (1 | sample)", levels = TRUE),
  case("schools", "several_schools", "y ~ x + (1 + x | school) + (1 | school:class)"),
  case("costs", "hospital_costs", "recovery ~ severity + age + (1 | hospital)", levels = TRUE),
  case("singular", "no_group_variance", "y ~ x + z + (1 | g)"))
write_json(list(versions = sapply(c("lme4", "performance", "insight"), function(p) as.character(packageVersion(p))),
                cases = cases), "tests/helpers/reference/r_squared.json", auto_unbox = TRUE, digits = 12, pretty = TRUE,
           null = "null")
