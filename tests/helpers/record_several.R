# Record what lme4, lmerTest and pbkrtest give for models with several random terms.
#
#   Rscript --vanilla tests/helpers/record_several.R        (from the project's root)
#
# writes tests/helpers/data/several_*.csv (small generated data sets, and parts of lme4's own) and
# tests/helpers/reference/several.json. The tests read both without R. With arguments
#
#   Rscript --vanilla tests/helpers/record_several.R FILE CASE ...
#
# it fits some cases to the data as they are and writes them to FILE.

suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
here <- "tests/helpers"
wanted <- commandArgs(trailingOnly = TRUE)

# --- data -----------------------------------------------------------------------------------------------------------
set.seed(20261126)
save <- function(d, name) {
  if (length(wanted)) return(invisible())
  for (v in names(d)) if (is.double(d[[v]])) d[[v]] <- round(d[[v]], 4)
  write.csv(d, file.path(here, "data", paste0("several_", name, ".csv")), row.names = FALSE, quote = FALSE)
}
local({  # herds, cows within herds with labels that start anew in each, days across; unequal numbers
  herd <- rep(1:12, c(3, 5, 2, 6, 4, 7, 3, 5, 6, 4, 5, 8)); cow <- ave(herd, herd, FUN = seq_along)
  rows <- sample(1:7, length(herd), TRUE); herd <- rep(herd, rows); cow <- rep(cow, rows); n <- length(herd)
  day <- sample(letters[1:9], n, TRUE); x <- rnorm(n, 0.5); z <- rbinom(12, 1, .5)[herd]
  id <- as.integer(factor(paste(herd, cow))); w <- sample(c(.5, 1, 2), n, TRUE)
  y <- 3 + .8 * x - .5 * z + rnorm(12)[herd] * .7 + rnorm(12)[herd] * .4 * x + rnorm(max(id))[id] * .8 +
    rnorm(9)[match(day, letters)] * .5 + rnorm(n)
  save(data.frame(herd, cow, day, x, z, w, y), "herds")
})
local({  # raters and items, hardly any of all pairs; the raters do not differ
  n <- 220; rater <- sample(40, n, TRUE); item <- sample(15, n, TRUE); x <- runif(n); f <- sample(c("p", "q", "r"), n, TRUE)
  y <- 2 + x + rnorm(15)[item] * .9 + rnorm(15)[item] * .8 * x + rnorm(n)
  save(data.frame(rater, item, x, f, y), "raters")
})
local({  # four levels
  d <- expand.grid(sample = 1:3, pupil = 1:4, class = 1:3, school = 1:6); d <- d[sort(sample(nrow(d), 170)), ]
  s <- d$school; k <- 10 * s + d$class; p <- 10 * k + d$pupil; x <- rnorm(nrow(d))
  u <- function(g, sd) rnorm(length(unique(g)), 0, sd)[as.integer(factor(g))]
  d$x <- x; d$y <- 10 + .3 * x + u(s, 1) + u(k, .7) + u(p, .9) + rnorm(nrow(d), 0, .6)
  save(d[, c("school", "class", "pupil", "x", "y")], "schools")
})
data(cake, InstEval, package = "lme4")
cake$temperature <- NULL
save(cake, "cake")
part <- InstEval[as.integer(InstEval$s) <= 120, c("s", "d", "dept", "service", "y")]
part$service <- as.integer(part$service) - 1L
save(part, "insteval")

# --- fits -----------------------------------------------------------------------------------------------------------
read <- function(name) {
  published <- file.path("datasets/published", paste0(name, ".csv"))
  read.csv(if (file.exists(published)) published else file.path(here, "data", paste0("several_", name, ".csv")))
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
grouping <- c("herd", "cow", "day", "rater", "item", "school", "class", "pupil", "replicate", "s", "d", "dept",
              "plate", "sample", "batch", "cask", "Subject")
case <- function(id, data, formula, reml = TRUE, prior = NULL, kr = reml && is.null(prior)) {
  if (length(wanted) && !id %in% wanted) return(NULL)
  d <- read(data)
  for (v in intersect(names(d), grouping)) d[[v]] <- factor(d[[v]])
  d$.w <- if (is.null(prior)) rep(1, nrow(d)) else d[[prior]]
  f <- as.formula(formula)
  m <- eval(bquote(best(.(f), d, reml, d$.w)))
  p <- length(fixef(m)); unit <- diag(p)
  re <- ranef(m, condVar = TRUE)
  out <- list(
    id = id, data = data, formula = formula, reml = reml, weights = prior,
    criterion = -2 * as.numeric(logLik(m)), aic = AIC(m), bic = BIC(m),
    theta = unname(getME(m, "theta")), sigma = sigma(m), beta = unname(fixef(m)), names = names(fixef(m)),
    vcov = as.matrix(vcov(m)), singular = isSingular(m),
    ranef = lapply(re, function(r) list(labels = rownames(r), terms = names(r), values = as.matrix(r))),
    condvar = lapply(re, function(r) { v <- attr(r, "postVar"); if (is.list(v)) NULL else v }),
    fitted = unname(fitted(m)))
  out$satterthwaite <- unname(suppressWarnings(
    sapply(seq_len(p), function(i) contest1D(m, unit[i, ], ddf = "Satterthwaite")$df)))
  if (p > 2) {
    joint <- suppressWarnings(contestMD(m, unit[-1, ], ddf = "Satterthwaite"))
    out$joint_satterthwaite <- list(f = joint[["F value"]], df = joint[["DenDF"]])
  }
  if (kr) {
    adjusted <- vcovAdj(m)
    out$kr_se <- unname(sqrt(diag(as.matrix(adjusted))))
    out$kr_df <- sapply(seq_len(p), function(i) Lb_ddf(unit[i, ], vcov(m), adjusted))
    if (p > 2) {
      test <- pbkrtest:::.KR_adjust(adjusted, vcov(m), unit[-1, ], fixef(m), 0)
      out$joint_kr <- list(f = test$Fstat, df = test$ddf, scale = test$F.scaling)
    }
  }
  message(id)
  out
}
cases <- list(
  case("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
  case("penicillin-ml", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", reml = FALSE),
  case("pastes", "pastes", "strength ~ 1 + (1 | batch/cask)"),
  case("sleepstudy-uncorrelated", "sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  case("cake", "cake", "angle ~ temp + recipe + (1 | recipe:replicate)"),
  case("cake-crossed", "cake", "angle ~ temp + recipe + (1 | replicate) + (1 | recipe:replicate)"),
  case("herds", "herds", "y ~ x + z + (1 | herd/cow)"),
  case("herds-ml", "herds", "y ~ x + z + (1 | herd/cow)", reml = FALSE),
  case("herds-weights", "herds", "y ~ x + z + (1 | herd/cow)", prior = "w"),
  case("herds-slope", "herds", "y ~ x + z + (1 + x | herd) + (1 | herd:cow)"),
  case("herds-uncorrelated", "herds", "y ~ x + z + (x || herd) + (1 | herd:cow)"),
  case("herds-day", "herds", "y ~ x + z + (1 | herd:cow) + (1 | herd) + (1 | day)"),
  case("herds-day-slope", "herds", "y ~ x + z + (1 | day) + (x | herd) + (1 | herd:cow)"),
  case("herds-day-weights", "herds", "y ~ x + z + (1 | herd/cow) + (0 + x | day)", prior = "w", reml = FALSE),
  case("raters", "raters", "y ~ x + f + (1 | rater) + (x | item)"),
  case("raters-ml", "raters", "y ~ x + f + (1 | rater) + (1 | item)", reml = FALSE),
  case("raters-slopes", "raters", "y ~ x + (0 + x | rater) + (x || item)"),
  case("schools", "schools", "y ~ x + (1 | school/class/pupil)"),
  case("insteval", "insteval", "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"))
versions <- sapply(c("lme4", "lmerTest", "pbkrtest"), function(p) as.character(packageVersion(p)))
cases <- Filter(Negate(is.null), cases)
write_json(list(versions = as.list(c(R = as.character(getRversion()), versions)), cases = cases),
           if (length(wanted)) wanted[1] else file.path(here, "reference", "several.json"), digits = NA, auto_unbox = TRUE, null = "null")
