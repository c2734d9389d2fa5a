module guest

go 1.25

require go.bytecodealliance.org/pkg v0.2.3

// A copy, so that nothing is fetched to build.
replace go.bytecodealliance.org/pkg => ./bindings/pkg
