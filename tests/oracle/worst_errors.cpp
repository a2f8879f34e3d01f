#include "tests/oracle/worst_errors.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <limits>
#include <sstream>

namespace sluice::testing {

double relative_error(std::span<const double> found, std::span<const double> expected)
{
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (found.size() != expected.size() || expected.empty())
        return infinite;
    double difference = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (!std::isfinite(found[i]))
            return infinite;
        difference = std::max(difference, std::abs(found[i] - expected[i]));
        largest = std::max(largest, std::abs(expected[i]));
    }
    if (largest == 0.0)
        return difference == 0.0 ? 0.0 : infinite;
    return difference / largest;
}

void WorstErrors::check(const std::string& kind, const std::string& tensor,
                        std::span<const double> found, std::span<const double> expected,
                        double tolerance)
{
    const double error = relative_error(found, expected);
    BOOST_CHECK_MESSAGE(error <= tolerance, title_ << ": " << kind << " of " << tensor
                                                   << ": relative error " << error << ", allowed "
                                                   << tolerance);
    if (!worst_.contains(kind))
        order_.push_back(kind);
    Worst& worst = worst_[kind];
    ++worst.num_tensors;
    if (error > worst.error) {
        worst.error = error;
        worst.tolerance = tolerance;
        worst.tensor = tensor;
    }
}

std::string WorstErrors::markdown() const
{
    std::ostringstream out;
    out << "### " << title_ << "\n\n| kind | tensors | worst relative error | allowed | where |\n"
        << "| --- | ---: | ---: | ---: | --- |\n"
        << std::scientific << std::setprecision(1);
    for (const std::string& kind : order_) {
        const Worst& worst = worst_.at(kind);
        out << "| " << kind << " | " << worst.num_tensors << " | " << worst.error << " | "
            << worst.tolerance << " | " << worst.tensor << " |\n";
    }
    return out.str();
}

void WorstErrors::report() const
{
    BOOST_TEST_MESSAGE(markdown());
    if (const char* path = std::getenv("SLUICE_ORACLE_TABLE")) {
        std::ofstream file(path, std::ios::app);
        file << markdown() << '\n';
        BOOST_CHECK_MESSAGE(file.good(), "cannot write " << path);
    }
}

std::string kind_of(std::string_view parameter_name)
{
    std::string_view name = parameter_name.substr(0, parameter_name.rfind('.'));
    return std::string(name.substr(name.rfind('.') + 1));
}

} // namespace sluice::testing
