# Record what lme4, lmerTest and pbkrtest give, for the tests of the estimator and the inference.
#
#   Rscript tests/helpers/record_reference.R        (from the project's root)
#
# writes tests/helpers/data/*.csv (small generated data sets) and tests/helpers/reference/lme4.json. The tests read
# both without R.

suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
here <- "tests/helpers"

# --- data: each made to be awkward in one way ---------------------------------------------------------------------
set.seed(20150624)
groups <- function(sizes) rep(seq_along(sizes), sizes)
save <- function(d, name) {
  for (v in names(d)) if (is.double(d[[v]])) d[[v]] <- round(d[[v]], 4)
  write.csv(d, file.path(here, "data", paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
}
make <- function(name, sizes, sd0, sd1 = 0, rho = 0, sigma = 1) {
  g <- groups(sizes); n <- length(g); G <- length(sizes)
  u0 <- rnorm(G); u1 <- rho * u0 + sqrt(1 - rho^2) * rnorm(G)
  x <- rnorm(n); z <- rbinom(G, 1, 0.5)[g]; w <- sample(c(0.5, 1, 2), n, TRUE)
  y <- 3 + 0.8 * x - 0.5 * z + sd0 * u0[g] + sd1 * u1[g] * x + sigma * rnorm(n)
  save(data.frame(g = g, x = x, z = z, w = w, y = y), name)
}
make("unbalanced", c(1, 2, 2, 3, 5, 8, 9, 12, 15, 4, 7, 30), sd0 = 1, sd1 = 0.6, rho = 0.4)
make("near_singular", rep(6, 20), sd0 = 0.9, sd1 = 0.25, rho = 0.9)
# drawn again until lme4 finds the fit singular in the way that the name says
until <- function(formula, wanted, ...) {
  for (draw in 1:200) {
    make(...)
    d <- read.csv(file.path(here, "data", paste0(list(...)[[1]], ".csv")))
    m <- suppressMessages(suppressWarnings(lme4::lmer(formula, d)))
    if (wanted(getME(m, "theta"))) return(invisible())
  }
  stop("no such draw")
}
until(y ~ x + z + (x | g), function(t) abs(t[3]) < 1e-4 && t[1] > 0.5 && abs(t[2]) > 0.05,
      "correlation_one", c(4, 5, 6, 7, 8, 4, 5, 6), sd0 = 0.8, sd1 = 0.15, rho = 0.9)
until(y ~ x + z + (x | g), function(t) max(abs(t)) < 1e-4,
      "nothing_varies", c(5, 4, 6, 5, 7, 6, 5), sd0 = 0)
until(y ~ x + z + (1 | g), function(t) t < 1e-4,
      "no_group_variance", c(3, 4, 5, 6, 3, 4, 5, 6, 7), sd0 = 0)
make("few_groups", c(10, 12, 9, 14), sd0 = 1.2)
make("dominant", c(5, 4, 6, 3, 5, 6), sd0 = 40, sigma = 0.5)
local({
  sizes <- c(9, 12, 8, 10, 15, 11, 9, 14, 10, 12, 8, 13, 10, 11); g <- groups(sizes); n <- length(g)
  x <- rnorm(n); t <- runif(n, -1, 1); G <- length(sizes)
  L <- matrix(c(1, .3, -.2, 0, .7, .25, 0, 0, .6), 3); u <- matrix(rnorm(3 * G), G) %*% t(L)
  y <- 1 + 0.5 * x - t + u[g, 1] + u[g, 2] * x + u[g, 3] * t + rnorm(n)
  save(data.frame(g = g, x = x, t = t, y = y), "three_terms")
})

# --- fits -----------------------------------------------------------------------------------------------------------
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  read.csv(if (file.exists(published)) published else file.path(here, "data", paste0(name, ".csv")))
}
controls <- list(
  lmerControl(optimizer = "nloptwrap", calc.derivs = FALSE,
              optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-14, ftol_rel = 0, xtol_rel = 0, maxeval = 1e5)),
  lmerControl(optimizer = "bobyqa", calc.derivs = FALSE, optCtrl = list(rhoend = 1e-10, maxfun = 1e5)))
best <- function(formula, data, reml, weights) {
  fits <- lapply(controls, function(control) suppressMessages(suppressWarnings(
    lmerTest::lmer(formula, data, REML = reml, weights = weights, control = control))))
  fits[[which.min(sapply(fits, function(m) -2 * as.numeric(logLik(m))))]]
}
# pbkrtest leaves prior weights out of V: give it the model without weights, rows multiplied by sqrt(w)
without_weights <- function(m, w) {
  d <- data.frame(g = m@flist[[1]]); d$y <- getME(m, "y") * sqrt(w); d$X <- getME(m, "X") * sqrt(w)
  d$Z <- getME(m, "mmList")[[1]] * sqrt(w)
  best(y ~ 0 + X + (0 + Z | g), d, TRUE, rep(1, nrow(d)))
}
case <- function(id, data, fixed, random, group, reml = TRUE, prior = NULL, profile = FALSE, kr = reml) {
  d <- read(data)
  d$.w <- if (is.null(prior)) rep(1, nrow(d)) else d[[prior]]
  formula <- as.formula(paste0(fixed, " + (", random, " | ", group, ")"))
  m <- eval(bquote(best(.(formula), d, reml, d$.w)))
  p <- length(fixef(m)); unit <- diag(p)
  condvar <- attr(ranef(m, condVar = TRUE)[[1]], "postVar")
  out <- list(
    id = id, data = data, fixed = fixed, random = random, group = group, reml = reml, weights = prior,
    criterion = -2 * as.numeric(logLik(m)), llf = as.numeric(logLik(m)), aic = AIC(m), bic = BIC(m),
    theta = unname(getME(m, "theta")), sigma = sigma(m), beta = unname(fixef(m)), names = names(fixef(m)),
    vcov = as.matrix(vcov(m)), cov_re = as.matrix(VarCorr(m)[[1]])[, , drop = FALSE],
    ranef = as.matrix(ranef(m)[[1]]), condvar = condvar, singular = isSingular(m))
  attributes(out$cov_re) <- attributes(out$cov_re)["dim"]
  sat <- suppressWarnings(sapply(seq_len(p), function(i) contest1D(m, unit[i, ], ddf = "Satterthwaite")$df))
  out$satterthwaite <- unname(sat)
  if (p > 2) {
    joint <- suppressWarnings(contestMD(m, unit[-1, ], ddf = "Satterthwaite"))
    out$joint_satterthwaite <- list(f = joint[["F value"]], df = joint[["DenDF"]], p = joint[["Pr(>F)"]])
  }
  if (kr) {
    if (!is.null(prior)) m <- without_weights(m, d$.w)
    adjusted <- vcovAdj(m)
    out$kr_se <- unname(sqrt(diag(as.matrix(adjusted))))
    out$kr_df <- sapply(seq_len(p), function(i) Lb_ddf(unit[i, ], vcov(m), adjusted))
    if (p > 2) {
      test <- pbkrtest:::.KR_adjust(adjusted, vcov(m), unit[-1, ], fixef(m), 0)
      out$joint_kr <- list(f = test$Fstat, df = test$ddf, scale = test$F.scaling, p = test$p.value)
    }
  }
  if (profile) {
    ci <- suppressWarnings(confint(m, method = "profile", quiet = TRUE))
    out$profile <- unname(ci); out$profile_names <- rownames(ci)
  }
  message(id)
  out
}
cases <- list(
  case("sleepstudy-slope", "sleepstudy", "Reaction ~ Days", "Days", "Subject", profile = TRUE),
  case("sleepstudy-slope-ml", "sleepstudy", "Reaction ~ Days", "Days", "Subject", reml = FALSE),
  case("sleepstudy-intercept", "sleepstudy", "Reaction ~ Days", "1", "Subject", profile = TRUE),
  case("dyestuff", "dyestuff", "Yield ~ 1", "1", "Batch", profile = TRUE),
  case("dyestuff2", "dyestuff2", "Yield ~ 1", "1", "Batch"),
  case("rail", "rail", "travel ~ 1", "1", "Rail", profile = TRUE),
  case("orthodont", "orthodont", "distance ~ age * Sex", "age", "Subject"),
  case("u3", "u3", "y ~ x + z", "1", "g", profile = TRUE),
  case("u3-ml", "u3", "y ~ x + z", "1", "g", reml = FALSE),
  case("u3-x", "u3", "y ~ x", "1", "g"),
  case("unbalanced-intercept", "unbalanced", "y ~ x + z", "1", "g", profile = TRUE),
  case("unbalanced-slope", "unbalanced", "y ~ x + z", "x", "g", profile = TRUE),
  case("unbalanced-slope-ml", "unbalanced", "y ~ x + z", "x", "g", reml = FALSE),
  case("unbalanced-weights", "unbalanced", "y ~ x + z", "x", "g", prior = "w"),
  case("unbalanced-weights-ml", "unbalanced", "y ~ x", "1", "g", reml = FALSE, prior = "w"),
  case("slope-without-intercept", "unbalanced", "y ~ x", "0 + x", "g"),
  case("near-singular", "near_singular", "y ~ x + z", "x", "g"),
  case("correlation-one", "correlation_one", "y ~ x + z", "x", "g"),
  case("correlation-one-ml", "correlation_one", "y ~ x + z", "x", "g", reml = FALSE),
  case("nothing-varies", "nothing_varies", "y ~ x + z", "x", "g"),
  case("no-group-variance", "no_group_variance", "y ~ x + z", "1", "g"),
  case("few-groups", "few_groups", "y ~ x", "1", "g", profile = TRUE),
  case("dominant", "dominant", "y ~ x + z", "1", "g"),
  case("three-terms", "three_terms", "y ~ x + t", "x + t", "g"))
cases <- c(cases, list(
  case("no-intercept", "unbalanced", "y ~ 0 + factor(z) + x", "1", "g")))
versions <- sapply(c("lme4", "lmerTest", "pbkrtest"), function(p) as.character(packageVersion(p)))
write_json(list(versions = as.list(c(R = as.character(getRversion()), versions)), cases = cases),
           file.path(here, "reference", "lme4.json"), digits = NA, auto_unbox = TRUE, null = "null")
