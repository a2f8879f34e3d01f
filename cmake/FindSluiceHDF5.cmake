# Finds the serial HDF5 C library: HDF5::HDF5. Debian keeps it in a folder of its own.
find_path(SLUICE_HDF5_INCLUDE hdf5.h PATH_SUFFIXES hdf5/serial)
find_library(SLUICE_HDF5_LIBRARY NAMES hdf5_serial hdf5)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SluiceHDF5 REQUIRED_VARS SLUICE_HDF5_LIBRARY SLUICE_HDF5_INCLUDE)
if(SluiceHDF5_FOUND AND NOT TARGET HDF5::HDF5)
    add_library(HDF5::HDF5 UNKNOWN IMPORTED)
    set_target_properties(HDF5::HDF5 PROPERTIES
        IMPORTED_LOCATION ${SLUICE_HDF5_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${SLUICE_HDF5_INCLUDE})
endif()
