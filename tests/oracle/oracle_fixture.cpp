#include "tests/oracle/oracle_fixture.hpp"

#include "tests/source_folder.hpp"

#include <algorithm>
#include <cmath>
#include <hdf5.h>
#include <stdexcept>

namespace sluice::testing {
namespace {

/// Any HDF5 identifier.
class Handle {
public:
    Handle(hid_t id, herr_t (*close)(hid_t), const std::string& what) : id_(id), close_(close)
    {
        if (id_ < 0)
            throw std::runtime_error("cannot open " + what);
    }
    ~Handle() { close_(id_); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    hid_t id() const { return id_; }

private:
    hid_t id_;
    herr_t (*close_)(hid_t);
};

void check(herr_t status, const std::string& what)
{
    if (status < 0)
        throw std::runtime_error("cannot read " + what);
}

std::vector<std::int64_t> extents_of(hid_t dataset, const std::string& what)
{
    const Handle space(H5Dget_space(dataset), H5Sclose, what);
    std::vector<hsize_t> extents(
        static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.id()))));
    H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
    return {extents.begin(), extents.end()};
}

template <class T>
std::vector<T> read_all(hid_t file, const std::string& path, hid_t type)
{
    const Handle dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose, path);
    std::size_t count = 1;
    for (const std::int64_t extent : extents_of(dataset.id(), path))
        count *= static_cast<std::size_t>(extent);
    std::vector<T> values(count);
    check(H5Dread(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), path);
    return values;
}

/// Fixed-length text without its padding; `read` fills the buffer.
template <class Read>
std::string read_text(hid_t file_type, const std::string& what, const Read& read)
{
    std::string text(H5Tget_size(file_type), '\0');
    check(read(file_type, text.data()), what);
    text.resize(std::min(text.size(), text.find('\0')));
    return text;
}

} // namespace

OracleFixture::OracleFixture(const std::string& file_name) : file_name_(file_name)
{
    const std::string path = source_path("tests/oracle/fixtures/" + file_name);
    file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file_ < 0)
        throw std::runtime_error("cannot open " + path);
}

OracleFixture::~OracleFixture() { H5Fclose(file_); }

bool OracleFixture::contains(const std::string& path) const
{
    for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1))
        if (H5Lexists(file_, path.substr(0, end).c_str(), H5P_DEFAULT) <= 0)
            return false;
    return H5Lexists(file_, path.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> OracleFixture::children(const std::string& path) const
{
    std::vector<std::string> names;
    const auto add = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
        static_cast<std::vector<std::string>*>(list)->push_back(name);
        return 0;
    };
    check(H5Literate_by_name(file_, path.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names,
                             H5P_DEFAULT),
          path);
    return names;
}

std::vector<std::int64_t> OracleFixture::extents(const std::string& path) const
{
    const Handle dataset(H5Dopen2(file_, path.c_str(), H5P_DEFAULT), H5Dclose, path);
    return extents_of(dataset.id(), path);
}

std::vector<double> OracleFixture::numbers(const std::string& path) const
{
    return read_all<double>(file_, path, H5T_NATIVE_DOUBLE);
}

std::vector<std::int32_t> OracleFixture::integers(const std::string& path) const
{
    return read_all<std::int32_t>(file_, path, H5T_NATIVE_INT32);
}

double OracleFixture::number(const std::string& path) const
{
    const std::vector<double> values = numbers(path);
    if (values.size() != 1)
        throw std::runtime_error(path + " is not one number");
    return values[0];
}

std::string OracleFixture::text(const std::string& path) const
{
    const Handle dataset(H5Dopen2(file_, path.c_str(), H5P_DEFAULT), H5Dclose, path);
    const Handle type(H5Dget_type(dataset.id()), H5Tclose, path);
    return read_text(type.id(), path, [&](hid_t memory_type, char* to) {
        return H5Dread(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to);
    });
}

double OracleFixture::attribute(const std::string& name) const
{
    const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), H5Aclose, name);
    double value = 0.0;
    check(H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value), name);
    return value;
}

std::int64_t OracleFixture::integer_attribute(const std::string& name) const
{
    return std::llround(attribute(name));
}

std::string OracleFixture::text_attribute(const std::string& name) const
{
    const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), H5Aclose, name);
    const Handle type(H5Aget_type(attribute.id()), H5Tclose, name);
    return read_text(type.id(), name, [&](hid_t memory_type, char* to) {
        return H5Aread(attribute.id(), memory_type, to);
    });
}

std::string dataset_path(std::string_view parameter_name)
{
    std::string path(parameter_name);
    std::replace(path.begin(), path.end(), '.', '/');
    return path;
}

const std::vector<std::string>& training_fixtures()
{
    static const std::vector<std::string> names = {
        "pre_off.h5",      "pre_linear.h5",      "pre_stagewise-0.h5",
        "post_off.h5",     "post_linear.h5",     "post_stagewise-sqrt-L.h5",
        "sandwich_off.h5", "sandwich_linear.h5", "sandwich_linear-square.h5",
        "deepnorm_off.h5", "deepnorm_linear.h5", "deepnorm_reverse.h5",
        "lns_off.h5",      "lns_linear.h5",      "lns_stagewise-sqrt-l.h5"};
    return names;
}

} // namespace sluice::testing
