#include "tests/oracle/oracle_model.hpp"

sluice::Backend sluice::testing::single_precision_backend() { return Backend::cpu; }

std::vector<std::string> sluice::testing::single_precision_fixtures()
{
    return training_fixtures();
}
