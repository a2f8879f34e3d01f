// The inside of Hdf5Reader, shared by its datasets (hdf5_reader.cpp) and by attributes and lists of
// what is there (hdf5_reader_tree.cpp).
#pragma once

#include "core/error.hpp"
#include "io/hdf5_handle.hpp"

#include <set>

namespace sluice {

struct Hdf5Reader::State {
    std::string name;
    hdf5::Id file;
    std::uint64_t size_bytes = 0;
    /// Found before: HDF5 walks every path from the root, and thousands of tensors share groups.
    mutable std::set<std::string, std::less<>> plain_links;

    UserError damaged(std::string_view object, const std::string& problem) const
    {
        H5Eclear2(H5E_DEFAULT);
        return data_error(std::string(object) + ": " + problem, name,
                          "the file is damaged or is not what its name says: restore or remake it");
    }

    /// Throws when the visit of a group failed; `endless`: because it did not end by itself.
    void check_listing(std::string_view group, herr_t visited, bool endless) const
    {
        if (visited < 0)
            throw damaged(group, endless ? "its groups contain one another, or nest too deep"
                                         : "cannot be listed: " + hdf5::take_reason());
    }
    bool exists(std::string_view path) const;
    hdf5::Id open(std::string_view path) const;
    hdf5::Id open_dataset(std::string_view path) const;
    Hdf5DatasetInfo info(hid_t dataset, std::string_view path) const;
};

} // namespace sluice
