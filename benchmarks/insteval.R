# Write InstEval (students' ratings of lecturers, from lme4) for the benchmark: Rscript insteval.R folder
folder <- commandArgs(TRUE)[1]
data(InstEval, package = "lme4")
put <- function(values, name) writeBin(values, file.path(folder, name))
level <- function(f) as.integer(factor(f)) - 1L
put(as.double(InstEval$y), "y")
put(level(InstEval$s), "s")
put(level(InstEval$d), "d")
put(level(interaction(InstEval$dept, InstEval$service, drop = TRUE)), "ds")
