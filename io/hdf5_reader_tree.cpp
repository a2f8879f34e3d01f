// Attributes, and what there is in a file.
#include "io/hdf5_reader_state.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace sluice {

using hdf5::Id;

namespace {

/// Where H5Lvisit is to end: it knows a group that it has seen only if the group says that several
/// links lead to it, and follows a circle of others for ever.
class LinkBudget {
public:
    explicit LinkBudget(std::uint64_t file_bytes) : left_(std::min(file_bytes / least_bytes, most))
    {
    }

    /// False when this link cannot be one of a tree.
    bool spend(std::string_view path)
    {
        constexpr std::ptrdiff_t deepest = 64;
        if (left_ == 0 || std::ranges::count(path, '/') > deepest)
            exceeded_ = true;
        else
            --left_;
        return !exceeded_;
    }
    bool exceeded() const { return exceeded_; }

private:
    static constexpr std::uint64_t least_bytes = 8; ///< that a link takes in a file
    static constexpr std::uint64_t most = 10'000'000;
    std::uint64_t left_;
    bool exceeded_ = false;
};

/// What a visit finds below a group.
template <class Found>
struct Listing {
    std::vector<Found> found;
    LinkBudget budget;
};

} // namespace

std::optional<Hdf5Attribute> Hdf5Reader::attribute(std::string_view object,
                                                   std::string_view name) const
{
    const Id owner = state_->open(object);
    const std::string key(name);
    if (H5Aexists(owner.get(), key.c_str()) <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return std::nullopt;
    }
    const std::string label = std::string(object) + " attribute " + key;
    const Id attribute(H5Aopen(owner.get(), key.c_str(), H5P_DEFAULT), H5Aclose);
    const Id type(attribute.valid() ? H5Aget_type(attribute.get()) : H5I_INVALID_HID, H5Tclose);
    const Id space(attribute.valid() ? H5Aget_space(attribute.get()) : H5I_INVALID_HID, H5Sclose);
    if (!type.valid() || !space.valid() || H5Sget_simple_extent_npoints(space.get()) != 1)
        throw state_->damaged(label, "is not a single value");
    const std::size_t size = H5Tget_size(type.get());
    bool read = false;
    Hdf5Attribute value;
    switch (H5Tget_class(type.get())) {
    case H5T_STRING: {
        if (H5Tis_variable_str(type.get()) != 0 || size > hdf5_max_attribute_bytes)
            throw state_->damaged(label, "is not a fixed-length text");
        std::string text(size, '\0');
        read = H5Aread(attribute.get(), type.get(), text.data()) >= 0;
        text.resize(std::strlen(text.c_str()));
        value = std::move(text);
        break;
    }
    case H5T_INTEGER:
        if (H5Tget_sign(type.get()) == H5T_SGN_NONE) {
            std::uint64_t number = 0;
            read = H5Aread(attribute.get(), H5T_NATIVE_UINT64, &number) >= 0;
            value = number;
        } else {
            std::int64_t number = 0;
            read = H5Aread(attribute.get(), H5T_NATIVE_INT64, &number) >= 0;
            value = number;
        }
        break;
    case H5T_FLOAT: {
        double number = 0.0;
        read = H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &number) >= 0;
        value = number;
        break;
    }
    default: throw state_->damaged(label, "has a type that this program does not use");
    }
    if (!read)
        throw state_->damaged(label, "cannot be read: " + hdf5::take_reason());
    return value;
}

std::string Hdf5Reader::text_attribute(std::string_view object, std::string_view name) const
{
    auto value = attribute(object, name);
    if (!value || !std::holds_alternative<std::string>(*value))
        throw state_->damaged(object, "has no text attribute " + std::string(name));
    return std::get<std::string>(std::move(*value));
}

std::int64_t Hdf5Reader::int64_attribute(std::string_view object, std::string_view name) const
{
    const auto value = attribute(object, name);
    if (value) {
        if (const auto* number = std::get_if<std::int64_t>(&*value))
            return *number;
        if (const auto* number = std::get_if<std::uint64_t>(&*value);
            number && *number <= std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return static_cast<std::int64_t>(*number);
    }
    throw state_->damaged(object, "has no integer attribute " + std::string(name));
}

std::uint64_t Hdf5Reader::uint64_attribute(std::string_view object, std::string_view name) const
{
    const auto value = attribute(object, name);
    if (value) {
        if (const auto* number = std::get_if<std::uint64_t>(&*value))
            return *number;
        if (const auto* number = std::get_if<std::int64_t>(&*value); number && *number >= 0)
            return static_cast<std::uint64_t>(*number);
    }
    throw state_->damaged(object, "has no natural-number attribute " + std::string(name));
}

std::vector<std::string> Hdf5Reader::datasets_below(std::string_view group) const
{
    const Id owner = state_->open(group);
    if (H5Iget_type(owner.get()) != H5I_GROUP)
        throw state_->damaged(group, "is not a group");
    using Names = Listing<std::string>;
    Names names{{}, LinkBudget(state_->size_bytes)};
    const auto collect = [](hid_t, const char* name, const H5L_info_t* link, void* data) -> herr_t {
        Names& names = *static_cast<Names*>(data);
        if (link->type == H5L_TYPE_HARD)
            names.found.emplace_back(name);
        return names.budget.spend(name) ? 0 : -1;
    };
    const herr_t visited = H5Lvisit(owner.get(), H5_INDEX_NAME, H5_ITER_INC, collect, &names);
    state_->check_listing(group, visited, names.budget.exceeded());
    const std::string prefix = group == "/" ? "/" : std::string(group) + "/";
    std::vector<std::string> paths;
    for (const std::string& name : names.found) {
        const Id object(H5Oopen(owner.get(), name.c_str(), H5P_DEFAULT), H5Oclose);
        if (!object.valid())
            throw state_->damaged(prefix + name, "cannot be opened: " + hdf5::take_reason());
        if (H5Iget_type(object.get()) == H5I_DATASET)
            paths.push_back(prefix + name);
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

std::vector<Hdf5Link> Hdf5Reader::foreign_links() const
{
    hdf5::prepare_thread();
    using Links = Listing<Hdf5Link>;
    Links links{{}, LinkBudget(state_->size_bytes)};
    const auto collect = [](hid_t group, const char* name, const H5L_info_t* link,
                            void* data) -> herr_t {
        Links& links = *static_cast<Links*>(data);
        if (!links.budget.spend(name))
            return -1;
        if (link->type == H5L_TYPE_HARD)
            return 0;
        Hdf5Link found{.path = "/" + std::string(name), .file = {}, .target = {}};
        std::vector<char> value(link->type == H5L_TYPE_EXTERNAL ? link->u.val_size : 0);
        const char *file = nullptr, *target = nullptr;
        if (!value.empty() &&
            H5Lget_val(group, name, value.data(), value.size(), H5P_DEFAULT) >= 0 &&
            H5Lunpack_elink_val(value.data(), value.size(), nullptr, &file, &target) >= 0) {
            found.file = file;
            found.target = target;
        }
        links.found.push_back(std::move(found));
        return 0;
    };
    const herr_t visited =
        H5Lvisit(state_->file.get(), H5_INDEX_NAME, H5_ITER_INC, collect, &links);
    state_->check_listing("/", visited, links.budget.exceeded());
    std::ranges::sort(links.found, {}, &Hdf5Link::path);
    return std::move(links.found);
}

} // namespace sluice
