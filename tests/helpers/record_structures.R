# Record what nlme gives for models with correlated residuals and unequal variances.
#
#   Rscript --vanilla tests/helpers/record_structures.R        (from the project's root)
#
# writes tests/helpers/data/structure_*.csv (small generated data sets) and
# tests/helpers/reference/structures.json. The tests read both without R. With arguments
#
#   Rscript --vanilla tests/helpers/record_structures.R FILE CASE ...
#
# it fits some cases to the data as they are and writes them to FILE.

suppressMessages({library(nlme); library(jsonlite)})
here <- "tests/helpers"
wanted <- commandArgs(trailingOnly = TRUE)

# --- data -----------------------------------------------------------------------------------------------------------
set.seed(20000310)
save <- function(d, name) {
  if (length(wanted)) return(invisible())
  for (v in names(d)) if (is.double(d[[v]])) d[[v]] <- round(d[[v]], 4)
  write.csv(d, file.path(here, "data", paste0("structure_", name, ".csv")), row.names = FALSE, quote = FALSE)
}
correlated <- function(g, t, phi) {  # one residual for each row: a chain within each group
  e <- numeric(length(t))
  for (k in unique(g)) {
    i <- which(g == k); i <- i[order(t[i])]
    for (j in seq_along(i)) {
      rho <- if (j == 1) 0 else if (phi < 0) phi^round(t[i[j]] - t[i[j - 1]]) else phi^(t[i[j]] - t[i[j - 1]])
      e[i[j]] <- (if (j == 1) 0 else rho * e[i[j - 1]]) + sqrt(1 - rho^2) * rnorm(1)
    }
  }
  e
}
local({  # weeks with gaps, groups of 1 to 9 rows, rows in no order
  d <- expand.grid(week = 1:9, g = 1:30); d <- d[runif(nrow(d)) < rep(runif(30, .2, 1), each = 9), ]
  d$x <- rnorm(nrow(d)); d$z <- rbinom(30, 1, .5)[d$g]
  d$y <- 4 + .5 * d$x - .4 * d$z + rnorm(30, 0, .8)[d$g] + correlated(d$g, d$week, .6)
  d$flip <- 4 + .5 * d$x + rnorm(30, 0, .8)[d$g] + correlated(d$g, d$week, -.5)
  save(d[sample(nrow(d)), ], "weeks")
})
local({  # days at any time
  rows <- sample(3:8, 40, TRUE); g <- rep(1:40, rows); day <- runif(length(g), 0, 60)
  x <- rnorm(length(g)); s <- sample(c("low", "high"), length(g), TRUE)
  y <- 100 + 3 * x + rnorm(40, 0, 5)[g] + c(low = 2, high = 6)[s] * correlated(g, day, .93)
  save(data.frame(g, day, x, s, y), "days")
})
local({  # three classes of rows, and weights
  d <- expand.grid(t = 0:5, g = 1:24); n <- nrow(d); d$class <- sample(c("a", "b", "c"), n, TRUE, c(.5, .3, .2))
  d$x <- rnorm(n, 2); d$w <- sample(c(.5, 1, 2), n, TRUE)
  d$y <- 1 + d$x + rnorm(24)[d$g] + c(a = 1, b = 2, c = .5)[d$class] * correlated(d$g, d$t, .4) / sqrt(d$w)
  save(d, "classes")
})
local({  # random intercepts and slopes
  d <- expand.grid(t = 0:7, g = 1:40); b <- matrix(rnorm(80), 40) %*% chol(matrix(c(1, .2, .2, .16), 2))
  d$z <- rbinom(40, 1, .5)[d$g]
  d$y <- 10 + .3 * d$t + .5 * d$z + b[d$g, 1] + b[d$g, 2] * d$t + correlated(d$g, d$t, .5)
  save(d, "slopes")
})
local({  # cows within herds, the correlation within cows
  d <- expand.grid(week = 1:6, cow = 1:4, herd = 1:15); d <- d[runif(nrow(d)) < .85, ]
  id <- as.integer(factor(paste(d$herd, d$cow))); d$x <- rnorm(nrow(d)); d$breed <- c("H", "J")[1 + rbinom(60, 1, .4)][id]
  d$y <- 2 + .3 * d$x + rnorm(15)[d$herd] + rnorm(60, 0, .7)[id] +
    c(H = 1, J = 1.5)[d$breed] * correlated(id, d$week, .5)
  save(d, "herds")
})

# --- fits -----------------------------------------------------------------------------------------------------------
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  d <- read.csv(if (file.exists(published)) published else file.path(here, "data", paste0("structure_", name, ".csv")))
  if (name == "orthodont") d$visit <- (d$age - 6) / 2
  d
}
control <- lmeControl(tolerance = 1e-11, msTol = 1e-13, msMaxIter = 1000, maxIter = 1000, niterEM = 200, msMaxEval = 5000)
case <- function(id, data, fixed, random, bars, kind = NULL, time = NULL, variances = NULL, prior = NULL, reml = TRUE) {
  if (length(wanted) && !id %in% wanted) return(NULL)
  d <- read(data)
  group <- sub(".*\\|", "", random)
  # in the order of time: nlme's normalized residuals depend on the order of the rows
  if (!is.null(kind)) d <- d[do.call(order, c(d[trimws(strsplit(group, "/")[[1]])], d[time])), ]
  starts <- if (is.null(kind)) NA else if (kind == "car1") c(.2, .5, .9) else c(0, .3, .7, -.3)
  weights <- if (!is.null(variances)) varIdent(form = as.formula(paste("~1 |", variances)))
  if (!is.null(prior)) {
    d$.inverse <- 1 / d[[prior]]
    weights <- if (is.null(weights)) varFixed(~.inverse) else varComb(weights, varFixed(~.inverse))
  }
  fits <- lapply(starts, function(start) {
    correlation <- if (!is.null(kind))
      (if (kind == "ar1") corAR1 else corCAR1)(start, form = as.formula(paste("~", time, "|", group)))
    arguments <- list(as.formula(fixed), data = d, random = as.formula(random), control = control,
                      method = if (reml) "REML" else "ML", correlation = correlation, weights = weights)
    try(do.call(lme, arguments[!sapply(arguments, is.null)]), silent = TRUE)
  })
  fits <- Filter(function(f) !inherits(f, "try-error"), fits)
  m <- fits[[which.max(sapply(fits, function(f) as.numeric(logLik(f))))]]
  out <- list(id = id, data = data, formula = paste(fixed, "+", bars), reml = reml, weights = prior,
    correlation = if (!is.null(kind)) paste0(kind, "(", time, ")"), variances = variances,
    loglik = as.numeric(logLik(m)), n_params = attr(logLik(m), "df"), sigma = m$sigma,
    beta = unname(fixef(m)), names = names(fixef(m)), se = unname(sqrt(diag(m$varFix))),
    # of the first rows
    fitted = unname(head(fitted(m), 60)), normalized = unname(head(resid(m, type = "normalized"), 60)))
  if (!is.null(kind)) out$phi <- unname(coef(m$modelStruct$corStruct, unconstrained = FALSE))
  if (!is.null(variances)) {
    s <- m$modelStruct$varStruct
    if (inherits(s, "varComb")) s <- s[[1]]
    out$ratios <- as.list(coef(s, unconstrained = FALSE, allCoef = TRUE))
  }
  # covariances of the random effects, the outer factor first
  out$cov_re <- lapply(rev(as.list(m$modelStruct$reStruct)), function(r) unname(as.matrix(r)) * m$sigma^2)
  names(out$cov_re) <- NULL
  message(id)
  out
}
cases <- list(
  case("milk", "milk", "protein ~ Diet * Time", "~1 | Cow", "(1 | Cow)", "ar1", "Time"),
  case("milk-ml", "milk", "protein ~ Diet * Time", "~1 | Cow", "(1 | Cow)", "ar1", "Time", reml = FALSE),
  case("milk-diets", "milk", "protein ~ Diet * Time", "~1 | Cow", "(1 | Cow)", "car1", "Time", "Diet"),
  case("milk-slopes", "milk", "protein ~ Diet * Time", "~Time | Cow", "(Time | Cow)", "ar1", "Time"),
  case("orthodont", "orthodont", "distance ~ age * Sex", "~1 | Subject", "(1 | Subject)", NULL, NULL, "Sex"),
  case("orthodont-ml", "orthodont", "distance ~ age * Sex", "~1 | Subject", "(1 | Subject)", NULL, NULL, "Sex", reml = FALSE),
  case("orthodont-both", "orthodont", "distance ~ age * Sex", "~1 | Subject", "(1 | Subject)", "ar1", "visit", "Sex"),
  case("orthodont-slopes", "orthodont", "distance ~ age * Sex", "~age | Subject", "(age | Subject)", NULL, NULL, "Sex"),
  case("weeks", "weeks", "y ~ x + z", "~1 | g", "(1 | g)", "ar1", "week"),
  case("weeks-ml", "weeks", "y ~ x + z", "~1 | g", "(1 | g)", "ar1", "week", reml = FALSE),
  case("weeks-car1", "weeks", "y ~ x + z", "~1 | g", "(1 | g)", "car1", "week"),
  case("weeks-negative", "weeks", "flip ~ x", "~1 | g", "(1 | g)", "ar1", "week"),
  case("days", "days", "y ~ x", "~1 | g", "(1 | g)", "car1", "day", "s"),
  case("days-ml", "days", "y ~ x", "~1 | g", "(1 | g)", "car1", "day", "s", reml = FALSE),
  case("classes", "classes", "y ~ x", "~1 | g", "(1 | g)", NULL, NULL, "class"),
  case("classes-both", "classes", "y ~ x", "~1 | g", "(1 | g)", "ar1", "t", "class"),
  case("classes-weights", "classes", "y ~ x", "~1 | g", "(1 | g)", "ar1", "t", "class", "w"),
  case("slopes", "slopes", "y ~ t + z", "~t | g", "(t | g)", "ar1", "t"),
  case("slopes-ml", "slopes", "y ~ t + z", "~t | g", "(t | g)", "ar1", "t", reml = FALSE),
  case("herds", "herds", "y ~ x", "~1 | herd/cow", "(1 | herd/cow)", "ar1", "week"),
  case("herds-ml", "herds", "y ~ x + breed", "~1 | herd/cow", "(1 | herd/cow)", "car1", "week", "breed", reml = FALSE),
  case("herds-breed", "herds", "y ~ x + breed", "~1 | herd/cow", "(1 | herd/cow)", NULL, NULL, "breed"))
cases <- Filter(Negate(is.null), cases)
versions <- c(R = as.character(getRversion()), nlme = as.character(packageVersion("nlme")))
write_json(list(versions = as.list(versions), cases = cases),
           if (length(wanted)) wanted[1] else file.path(here, "reference", "structures.json"), digits = NA, auto_unbox = TRUE, null = "null")
