# Record what R gives for the helpers beyond estimation: variance components, contextual effects, predictions,
# residuals, influence, Box-Cox.
#
#   Rscript tests/helpers/record_reference_helpers.R        (from the project's root)
#
# writes tests/helpers/reference/helpers.json, or the file named as its argument. Where lme4 has a function it is used; where it has none, the textbook
# formula is worked out with dense matrices, on lme4's estimates.

suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
read <- function(name) read.csv(file.path("datasets", name))
strict <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
fit <- function(formula, data, REML = TRUE) lme4::lmer(formula, data, control = strict, REML = REML)

sleep <- read("published/sleepstudy.csv"); sleep$Subject <- factor(sleep$Subject)
dairy <- read("dairy_herds.csv")
dyestuff <- read("published/dyestuff.csv"); dyestuff2 <- read("published/dyestuff2.csv")
health <- read("neighbourhood_health.csv")
costs <- na.omit(read("hospital_costs.csv"))
weighted <- read.csv("tests/helpers/data/unbalanced.csv")

# --- variance components and the ICC ------------------------------------------------------------------------------
components <- function(m) {
  v <- as.data.frame(VarCorr(m))
  list(variance = v$vcov, sd_or_cor = v$sdcor)
}
# likelihood ratio interval of theta^2 / (1 + theta^2), from lme4's own criterion
icc_profile <- function(formula, data, level = 0.95) {
  f <- lme4::lmer(formula, data, devFunOnly = TRUE)
  best <- optimize(f, c(0, 10), tol = 1e-10)
  rise <- function(t) f(t) - best$objective - qchisq(level, 1)
  low <- if (rise(0) > 0) uniroot(rise, c(0, best$minimum), tol = 1e-12)$root else 0
  high <- uniroot(rise, c(best$minimum, 10), tol = 1e-12)$root
  icc <- function(t) t^2 / (1 + t^2)
  list(estimate = icc(best$minimum), low = icc(low), high = icc(high))
}
one_way <- function(y, g) {
  a <- anova(lm(y ~ factor(g))); n <- table(g); N <- sum(n)
  n0 <- (N - sum(n^2) / N) / (length(n) - 1)
  ms <- a$`Mean Sq`; F <- ms[1] / ms[2]; df <- a$Df
  fl <- F / qf(0.975, df[1], df[2]); fu <- F / qf(0.025, df[1], df[2])
  list(df = df, mean_sq = ms, n0 = n0, sigma2_g = (ms[1] - ms[2]) / n0, p = a$`Pr(>F)`[1],
       icc = c((F - 1) / (F + n0 - 1), (fl - 1) / (fl + n0 - 1), (fu - 1) / (fu + n0 - 1)))
}
# Henderson's method 3 with dense matrices
henderson3 <- function(formula, data, group) {
  small <- lm(formula, data); big <- update(small, as.formula(paste(". ~ . + factor(", group, ")")))
  X <- model.matrix(small); Z <- model.matrix(as.formula(paste("~ 0 + factor(", group, ")")), data)
  M <- diag(nrow(X)) - X %*% solve(crossprod(X), t(X))
  df <- small$df.residual - big$df.residual
  ss <- deviance(small) - deviance(big); s2 <- deviance(big) / big$df.residual
  tr <- sum(diag(crossprod(Z, M %*% Z)))
  list(df = c(df, big$df.residual), sum_sq = c(ss, deviance(big)), n0 = tr / df, sigma2_g = (ss - df * s2) / tr, sigma2 = s2)
}
null <- fit(milk_kg ~ 1 + (1 | herd), dairy)
slopes <- fit(Reaction ~ Days + (Days | Subject), sleep)
variance <- list(
  dairy = components(null), sleepstudy = components(slopes),
  icc_dairy = icc_profile(milk_kg ~ 1 + (1 | herd), dairy),
  icc_dyestuff = icc_profile(Yield ~ 1 + (1 | Batch), dyestuff),
  icc_dyestuff2 = icc_profile(Yield ~ 1 + (1 | Batch), dyestuff2),
  anova_dairy = one_way(dairy$milk_kg, dairy$herd), anova_dyestuff = one_way(dyestuff$Yield, dyestuff$Batch),
  anova_dyestuff2 = one_way(dyestuff2$Yield, dyestuff2$Batch),
  henderson_dairy = henderson3(milk_kg ~ parity + herd_size, dairy, "herd")
)

# --- contextual effect --------------------------------------------------------------------------------------------
health$m <- ave(health$income, health$neighbourhood); health$w <- health$income - health$m
mundlak <- lmerTest::lmer(health ~ income + m + age + (1 | neighbourhood), health, control = strict)
centred <- lmerTest::lmer(health ~ w + m + age + (1 | neighbourhood), health, control = strict)
row <- function(m, L, ddf) {
  r <- contest1D(m, L, ddf = ddf)
  list(estimate = r$Estimate, std_error = r$`Std. Error`, df = r$df, p_value = r$`Pr(>|t|)`)
}
contextual <- list(
  within = row(centred, c(0, 1, 0, 0), "Satterthwaite"), between = row(centred, c(0, 0, 1, 0), "Satterthwaite"),
  contextual = row(mundlak, c(0, 0, 1, 0), "Satterthwaite")
)

# --- random effects, predictions, residuals of the first 60 rows: dense matrices where lme4 has nothing ----------------------------------
dense <- function(m) {
  X <- getME(m, "X"); Z <- as.matrix(getME(m, "Z")); s2 <- sigma(m)^2
  D <- s2 * as.matrix(tcrossprod(getME(m, "Lambda"))); W <- weights(m)
  # inverse of Henderson's mixed-model equations
  R <- W / s2
  C <- solve(rbind(cbind(crossprod(X, R * X), crossprod(X, R * Z)), cbind(crossprod(Z, R * X), crossprod(Z, R * Z) + solve(D))))
  V <- Z %*% D %*% t(Z) + diag(s2 / W)
  Vi <- solve(V); H <- solve(crossprod(X, Vi %*% X)); P <- Vi - Vi %*% X %*% H %*% t(X) %*% Vi
  y <- getME(m, "y"); marginal <- as.vector(y - X %*% fixef(m)); u <- getME(m, "b")
  conditional <- as.vector(marginal - Z %*% u)
  list(
    prediction_sd = sqrt(diag(C))[-seq_len(ncol(X))],
    fitted_se = head(sqrt(rowSums((cbind(X, Z) %*% C) * cbind(X, Z))), 60),
    marginal_std = head(marginal / sqrt(diag(V - X %*% H %*% t(X))), 60),
    conditional_std = head(conditional / sqrt(diag(diag(s2 / W) %*% P %*% diag(s2 / W))), 60),
    group_std = as.vector(u) / sqrt(diag(D %*% t(Z) %*% P %*% Z %*% D))
  )
}
random <- function(m) {
  r <- ranef(m, condVar = TRUE)[[1]]; v <- attr(r, "postVar")
  sd <- sapply(seq_len(dim(v)[3]), function(k) sqrt(diag(as.matrix(v[, , k]))))
  list(estimate = as.vector(t(as.matrix(r))), conditional_sd = as.vector(sd))
}
predictors <- fit(milk_kg ~ parity + feeding + (1 | herd), dairy)
heavy <- lme4::lmer(y ~ x + z + (1 | g), weighted, weights = w, control = strict)
new <- data.frame(Days = c(0, 3, 12), Subject = c("308", "999", "335"))
prediction <- list(
  sleepstudy = c(random(slopes), dense(slopes)), dairy = c(random(predictors), dense(predictors)),
  weighted = c(random(heavy), dense(heavy)),
  new_group = unname(predict(slopes, new, allow.new.levels = TRUE)),
  new_population = unname(predict(slopes, new, re.form = NA))
)

# --- leaving groups out -------------------------------------------------------------------------------------------
without <- function(m, data, group, formula) {
  V <- solve(as.matrix(vcov(m)))
  labels <- as.character(sort(unique(data[[group]])))
  one <- function(g) {
    k <- fit(formula, data[as.character(data[[group]]) != g, ])
    d <- fixef(m) - fixef(k)
    list(beta = unname(fixef(k)), cov_re = as.vector(VarCorr(k)[[1]]), residual = sigma(k)^2,
         cooks = as.vector(d %*% V %*% d) / length(d), covratio = det(as.matrix(vcov(k))) / det(as.matrix(vcov(m))))
  }
  setNames(lapply(labels, one), labels)
}
influence <- list(
  sleepstudy = without(slopes, sleep, "Subject", Reaction ~ Days + (Days | Subject)),
  dairy = without(predictors, dairy, "herd", milk_kg ~ parity + feeding + (1 | herd))
)

# --- Box-Cox ------------------------------------------------------------------------------------------------------
gm <- exp(mean(log(costs$cost)))
loglik <- function(l) {
  costs$z <- if (abs(l) < 1e-12) gm * log(costs$cost) else (costs$cost^l - 1) / (l * gm^(l - 1))
  as.numeric(logLik(fit(z ~ severity + age + (1 | hospital), costs, REML = FALSE)))
}
best <- optimize(loglik, c(-1, 1), maximum = TRUE, tol = 1e-8)
rise <- function(l) 2 * (best$objective - loglik(l)) - qchisq(0.95, 1)
at <- c(-1, 0, 0.5, 1)
boxcox <- list(
  lambda = at, llf = sapply(at, loglik), estimate = best$maximum,
  low = uniroot(rise, best$maximum + c(-0.5, 0), tol = 1e-8)$root,
  high = uniroot(rise, best$maximum + c(0, 0.5), tol = 1e-8)$root
)

versions <- list(R = paste(R.version$major, R.version$minor, sep = "."))
for (p in c("lme4", "lmerTest", "pbkrtest")) versions[[p]] <- as.character(packageVersion(p))
write_json(list(versions = versions, variance = variance, contextual = contextual, prediction = prediction,
                influence = influence, boxcox = boxcox),
           c(commandArgs(TRUE), "tests/helpers/reference/helpers.json")[1], digits = 12, auto_unbox = TRUE, pretty = TRUE)
