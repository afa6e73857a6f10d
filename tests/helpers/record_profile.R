# Record the ends of restricted profile likelihood intervals, found by brute force on lme4's own REML criterion.
#
#   Rscript tests/helpers/record_profile.R        (from the project's root)
#
# writes tests/helpers/reference/profile.json. lme4's confint() profiles the likelihood only; here its criterion at a
# given theta (devFunOnly), with the residual sum of squares that it leaves behind, gives the criterion at given
# standard deviations, correlation and sigma; one of them is held and optim() finds the others.

suppressMessages({library(lme4); library(jsonlite)})
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  read.csv(if (file.exists(published)) published else file.path("tests/helpers/data", paste0(name, ".csv")))
}
ends <- function(id, data, fixed, random, group) {
  d <- read(data)
  formula <- as.formula(paste0(fixed, " + (", random, " | ", group, ")"))
  devfun <- lmer(formula, d, devFunOnly = TRUE)
  fit <- lmer(formula, d, control = lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-13)))
  nu <- nrow(d) - length(fixef(fit)); q <- length(ranef(fit)[[1]])
  sds <- as.data.frame(VarCorr(fit), order = "lower.tri")$sdcor
  names <- if (q == 1) c("sd1", "sigma") else c("sd1", "cor", "sd2", "sigma")
  value <- function(par) {
    sigma <- par[length(par)]; s <- par / sigma
    theta <- if (q == 1) s[1] else c(s[1], s[3] * par[2], s[3] * sqrt(1 - par[2]^2))
    best <- tryCatch(devfun(theta), error = function(e) NA); e <- environment(devfun)
    if (is.na(best)) return(1e10)  # so far out that rounding spoils it
    r2 <- e$resp$wrss() + e$pp$sqrL(1)
    best - nu * (1 + log(2 * pi * r2 / nu)) + nu * log(2 * pi * sigma^2) + r2 / sigma^2
  }
  inner <- function(par) ifelse(names == "cor", atanh(pmin(pmax(par, -.999), .999)), log(pmax(par, 1e-6)))
  outer <- function(par) ifelse(names == "cor", tanh(par), exp(par))
  least <- function(k, v) {
    f <- function(free) { par <- numeric(length(names)); par[-k] <- outer0(free, k); par[k] <- v; value(par) }
    outer0 <- function(free, k) { full <- numeric(length(names)); full[-k] <- free; outer(full)[-k] }
    best <- Inf
    for (start in list(inner(sds)[-k], inner(sds)[-k] + 0.5, inner(sds)[-k] - 0.5)) {
      found <- list(par = start)
      for (round in 1:3) found <- if (length(start) > 1)
        optim(found$par, f, control = list(reltol = 1e-14, maxit = 5000)) else
        { o <- optimize(f, found$par + c(-3, 3), tol = 1e-10); list(par = o$minimum, value = o$objective) }
      best <- min(best, found$value)
    }
    best
  }
  lowest <- as.numeric(REMLcrit(fit)); cut <- qchisq(0.95, 1)
  out <- lapply(seq_along(names), function(k) {
    f <- function(v) least(k, v) - lowest - cut
    limit <- if (names[k] == "cor") c(-0.9999999, 0.9999999) else c(1e-7 * sds[k], 12 * sds[k])
    sapply(1:2, function(e) {
      if (f(limit[e]) < 0) return(if (names[k] == "cor") c(-1, 1)[e] else c(0, Inf)[e])
      uniroot(f, sort(c(sds[k], limit[e])), tol = 1e-9 * abs(sds[k]))$root
    })
  })
  names(out) <- names
  list(id = id, ends = out)
}
cases <- list(
  ends("sleepstudy-slope", "sleepstudy", "Reaction ~ Days", "Days", "Subject"),
  ends("sleepstudy-intercept", "sleepstudy", "Reaction ~ Days", "1", "Subject"),
  ends("dyestuff", "dyestuff", "Yield ~ 1", "1", "Batch"),
  ends("u3", "u3", "y ~ x + z", "1", "g"),
  ends("few-groups", "few_groups", "y ~ x", "1", "g"),
  ends("unbalanced-slope", "unbalanced", "y ~ x + z", "x", "g"))
write_json(list(lme4 = as.character(packageVersion("lme4")), cases = cases),
           "tests/helpers/reference/profile.json", auto_unbox = TRUE, digits = 12, pretty = TRUE)
