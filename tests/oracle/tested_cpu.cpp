#include "tests/oracle/oracle_model.hpp"

sluice::Stream sluice::testing::tested_stream() { return {.backend = Backend::cpu}; }

std::vector<std::string> sluice::testing::tested_training_fixtures() { return training_fixtures(); }
