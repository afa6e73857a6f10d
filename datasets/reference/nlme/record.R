# Record what nlme gives for the models of the chapter on repeated measures.
#
#   Rscript --vanilla datasets/reference/nlme/record.R [FILE]        (from the project's root)
#
# writes datasets/reference/nlme/repeated.json, or FILE. lme4 has none of these structures, so
# record.py in the folder above knows nothing of them.

suppressMessages({library(nlme); library(splines); library(jsonlite)})
wanted <- commandArgs(trailingOnly = TRUE)
file <- if (length(wanted)) wanted[1] else "datasets/reference/nlme/repeated.json"
control <- lmeControl(tolerance = 1e-10, msTol = 1e-12, msMaxIter = 1000, maxIter = 1000, niterEM = 100)

milk <- read.csv("datasets/published/milk.csv", stringsAsFactors = TRUE)
milk$early <- pmin(milk$Time, 4) - 4
milk$late <- (pmax(milk$Time, 4) - 4) / 10
teeth <- read.csv("datasets/published/orthodont.csv")
teeth$Sex <- factor(teeth$Sex, c("Male", "Female"))
days <- read.csv("datasets/test_days.csv", stringsAsFactors = TRUE)
levels_of <- list(housing = c("tie", "free"), breed = c("Holstein", "Jersey", "crossbred"),
                  parity_class = c("first", "second", "later"))
for (v in names(levels_of)) days[[v]] <- factor(days[[v]], levels_of[[v]])

told <- function(fit) {
  out <- list(call = paste(deparse(fit$call$fixed), collapse = " "), loglik = as.numeric(logLik(fit)),
              aic = AIC(fit), beta = unname(fixef(fit)), names = names(fixef(fit)),
              se = unname(sqrt(diag(fit$varFix))), sigma = fit$sigma)
  s <- fit$modelStruct
  if (!is.null(s$corStruct)) out$correlation <- unname(coef(s$corStruct, unconstrained = FALSE))
  if (!is.null(s$varStruct)) out$ratio <- unname(coef(s$varStruct, unconstrained = FALSE))
  out$sd <- unname(sapply(s$reStruct, function(r) sqrt(diag(as.matrix(r))[1]) * fit$sigma))
  out
}
days$number <- ave(days$dim, days$lactation, FUN = rank)  # days in milk rise within a lactation
yields <- milk_kg ~ housing + breed + parity_class + bs(dim, df = 6)
slopes <- protein ~ early + late * Diet
serial <- corAR1(.5, form = ~ Time | Cow)
models <- list(
  "milk, AR(1)" = lme(slopes, milk, ~ 1 | Cow, correlation = serial, control = control),
  "milk, slope and AR(1)" = lme(slopes, milk, ~ late | Cow, correlation = serial, control = control),
  "milk, fading and noise" = lme(slopes, milk, ~ 1 | Cow, control = control,
                                 correlation = corExp(c(3, .2), form = ~ Time | Cow, nugget = TRUE)),
  "milk, slope, fading and noise" = lme(slopes, milk, ~ late | Cow, control = lmeControl(opt = "optim"),
                                        correlation = corExp(c(3, .2), form = ~ Time | Cow, nugget = TRUE)),
  "jaws, a variance for each sex" = lme(distance ~ age * Sex, teeth, ~ 1 | Subject, control = control,
                                        weights = varIdent(form = ~ 1 | Sex)),
  "test days, by number" = lme(yields, days, ~ 1 | herd / cow / lactation, control = control,
                               correlation = corAR1(.5, form = ~ number | herd / cow / lactation)),
  "test days, CAR(1)" = lme(yields, days,
                            ~ 1 | herd / cow / lactation, control = control,
                            correlation = corCAR1(.98, form = ~ dim | herd / cow / lactation)))
versions <- list(R = as.character(getRversion()), nlme = as.character(packageVersion("nlme")))
write_json(list(versions = versions, models = lapply(models, told)), file, digits = NA, auto_unbox = TRUE, pretty = TRUE)
