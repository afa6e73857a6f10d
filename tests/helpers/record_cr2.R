# Record CR2 standard errors with Satterthwaite df, and joint tests (HTZ), as R's clubSandwich gives them.
#
#   Rscript --vanilla tests/helpers/record_cr2.R        (from the project's root)
#
# writes tests/helpers/reference/cr2.json. clubSandwich 0.5.8 has no method for GEE. The reference of a GEE fit with an
# exchangeable working correlation is nlme's gls with that correlation held fixed at the moment estimator of GEE (Liang &
# Zeger 1986), iterated to convergence here; of one with independence, lm.

suppressMessages({library(lme4); library(nlme); library(clubSandwich); library(jsonlite)})
read <- function(name) {
  places <- c(file.path("datasets", paste0(name, ".csv")), file.path("datasets/published", paste0(name, ".csv")),
              file.path("tests/helpers/data", paste0(name, ".csv")))
  data <- read.csv(places[file.exists(places)][1], stringsAsFactors = TRUE)
  if (name == "several_schools") data$school_class <- interaction(data$school, data$class, drop = TRUE)
  data
}
tight <- lmerControl(calc.derivs = FALSE, optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-14, xtol_rel = 0,
                                                        ftol_rel = 0, maxeval = 1e5))
moments <- function(formula, data, group) {
  # the pairs' mean product of residuals over the variance, with the degrees of freedom that statsmodels takes off
  group <- factor(data[[group]])
  X <- model.matrix(as.formula(formula), data)
  y <- model.response(model.frame(as.formula(formula), data))
  rho <- 0
  for (step in 1:200) {
    parts <- split(seq_along(y), group)
    weigh <- function(M, rows) (M - rho / (1 + (length(rows) - 1) * rho) * matrix(1, length(rows), 1) %*%
                                  colSums(M)) / (1 - rho)
    XWX <- Reduce(`+`, lapply(parts, function(r) crossprod(X[r, , drop = FALSE], weigh(X[r, , drop = FALSE], r))))
    XWy <- Reduce(`+`, lapply(parts, function(r) crossprod(X[r, , drop = FALSE], weigh(matrix(y[r]), r))))
    e <- as.vector(y - X %*% solve(XWX, XWy))
    scale <- sum(e^2) / (length(y) - ncol(X))
    pairs <- sapply(parts, function(r) length(r) * (length(r) - 1) / 2)
    sums <- sapply(parts, function(r) (sum(e[r])^2 - sum(e[r]^2)) / 2)
    new <- sum(sums) / (sum(pairs) - ncol(X)) / scale
    if (abs(new - rho) < 1e-15) break
    rho <- new
  }
  rho
}
case <- function(id, data, formula, kind, cluster, joint, reml = TRUE, default = FALSE) {
  table <- read(data)
  rho <- NULL
  if (kind == "mixed") {
    fit <- eval(bquote(lmer(.(as.formula(formula)), .(table), REML = .(reml), control = tight)))
  } else if (kind == "exchangeable") {
    rho <- moments(formula, table, cluster)
    table$cluster_ <- factor(table[[cluster]])
    # clubSandwich looks for the data of a gls fit by their name
    assign("table_of_gls", table, envir = globalenv())
    fit <- eval(bquote(gls(.(as.formula(formula)), table_of_gls,
                           correlation = corCompSymm(.(rho), ~ 1 | cluster_, fixed = TRUE))))
  } else {
    fit <- eval(bquote(lm(.(as.formula(formula)), .(table))))
  }
  V <- if (default) vcovCR(fit, type = "CR2") else vcovCR(fit, cluster = table[[cluster]], type = "CR2")
  test <- coef_test(fit, vcov = V, test = "Satterthwaite")
  wald <- Wald_test(fit, constraints = constrain_zero(joint), vcov = V, test = "HTZ")
  list(id = id, data = data, formula = formula, kind = kind, cluster = cluster, default = default, reml = reml,
       rho = rho, names = as.character(test$Coef), beta = test$beta, se = test$SE, df = test$df_Satt, p = test$p_Satt,
       joint = joint, F = wald$Fstat, delta = wald$delta, df_num = wald$df_num, df_denom = wald$df_denom,
       p_joint = wald$p_val)
}
cases <- list(
  case("ols-dairy", "dairy_herds", "milk_kg ~ parity + feeding", "ols", "herd", 3:4),
  case("ols-region", "dairy_herds", "milk_kg ~ parity + dtfs", "ols", "region", 2:3),
  case("ols-u3", "u3", "y ~ x + z", "ols", "g", 2:3),
  case("ols-cluster-dummies", "dairy_herds", "dtfs ~ parity + herd", "ols", "herd", c(2, 2)[1]),
  case("ols-singletons", "unbalanced", "y ~ x + z", "ols", "g", 2:3),
  case("mixed-dairy", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", "mixed", "herd", 3:4, default = TRUE),
  case("mixed-ml", "dairy_herds", "milk_kg ~ parity + feeding + (1 | herd)", "mixed", "herd", 3:4, reml = FALSE),
  case("mixed-u3", "u3", "y ~ x + z + (1 | g)", "mixed", "g", 2:3),
  case("mixed-singletons", "unbalanced", "y ~ x + z + (1 | g)", "mixed", "g", 2:3, default = TRUE),
  case("mixed-slope", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "mixed", "Subject", 1:2, default = TRUE),
  case("bp-slope", "bp_trial", "bp_reduction ~ treatment + baseline_sbp + hospital_type + (1 + treatment | hospital)",
       "mixed", "hospital", 2:3, default = TRUE),
  case("three-levels", "several_schools", "y ~ x + (1 | school) + (1 | school_class)", "mixed", "school", 1:2,
       default = TRUE),
  case("three-levels-slope", "several_schools", "y ~ x + (1 + x | school) + (1 | school_class)", "mixed", "school",
       1:2, default = TRUE),
  case("coarser-cluster", "dairy_herds", "milk_kg ~ parity + (1 | herd)", "mixed", "region", 1:2),
  case("gee-independence", "bp_trial", "bp_reduction ~ treatment + age + sex", "independence", "hospital", 2:4),
  case("gee-exchangeable", "dairy_herds", "milk_kg ~ parity + feeding", "exchangeable", "herd", 3:4),
  case("gee-unbalanced", "unbalanced", "y ~ x + z", "exchangeable", "g", 2:3),
  case("gee-negative", "u3", "y ~ x + z", "exchangeable", "g", 2:3))
write_json(list(versions = sapply(c("lme4", "nlme", "clubSandwich"), function(p) as.character(packageVersion(p))),
                cases = cases), "tests/helpers/reference/cr2.json", auto_unbox = TRUE, digits = 15, pretty = TRUE,
           null = "null")
