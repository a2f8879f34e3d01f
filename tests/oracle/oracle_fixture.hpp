// Reads the files that the Python oracle wrote (tests/oracle/README.md says what they hold), with
// the plain C API of HDF5 and none of the program's own file code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::testing {

class OracleFixture {
public:
    /// `file_name`, like "pre_linear.h5", in tests/oracle/fixtures. Throws std::runtime_error, as
    /// every member does, with the file's and the dataset's name.
    explicit OracleFixture(const std::string& file_name);
    ~OracleFixture();
    OracleFixture(const OracleFixture&) = delete;
    OracleFixture& operator=(const OracleFixture&) = delete;

    const std::string& file_name() const { return file_name_; }
    bool contains(const std::string& path) const;
    /// The names right below a group, sorted.
    std::vector<std::string> children(const std::string& path) const;
    std::vector<std::int64_t> extents(const std::string& path) const;
    /// All elements, row-major; a scalar is one element.
    std::vector<double> numbers(const std::string& path) const;
    std::vector<std::int32_t> integers(const std::string& path) const;
    double number(const std::string& path) const;
    std::string text(const std::string& path) const; ///< a dataset of fixed-length text

    /// Of the root group.
    double attribute(const std::string& name) const;
    std::int64_t integer_attribute(const std::string& name) const;
    std::string text_attribute(const std::string& name) const;

private:
    std::string file_name_;
    std::int64_t file_ = -1;
};

/// "model.norm.weight" -> "model/norm/weight"
std::string dataset_path(std::string_view parameter_name);

/// Every arrangement with "off", "linear" and one more schedule: the files of training runs.
const std::vector<std::string>& training_fixtures();

} // namespace sluice::testing
