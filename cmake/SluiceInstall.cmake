# `cmake --install` puts the program, its libraries, headers and documents where others expect them:
# find_package(sluice) then gives sluice::core, sluice::io, sluice::layers, sluice::pipeline.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/sluice)

install(TARGETS sluice RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS sluice_core sluice_io sluice_layers sluice_pipeline sluice_flags
        EXPORT sluiceTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/sluice)
foreach(floor core io layers pipeline)
    set_target_properties(sluice_${floor} PROPERTIES EXPORT_NAME ${floor})
    install(DIRECTORY ${floor} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/sluice
            FILES_MATCHING PATTERN "*.hpp")
endforeach()
install(EXPORT sluiceTargets NAMESPACE sluice:: DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sluiceConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
file(WRITE ${PROJECT_BINARY_DIR}/sluiceFeatures.cmake "set(SLUICE_HAS_CUDA ${SLUICE_HAS_CUDA})\n")
install(FILES cmake/sluiceConfig.cmake ${PROJECT_BINARY_DIR}/sluiceFeatures.cmake cmake/SluiceDependencies.cmake cmake/FindSluiceHDF5.cmake
              ${PROJECT_BINARY_DIR}/sluiceConfigVersion.cmake
        DESTINATION ${package_folder})

install(DIRECTORY recipes/ DESTINATION ${CMAKE_INSTALL_DATADIR}/sluice/recipes USE_SOURCE_PERMISSIONS)
install(DIRECTORY slurm/ DESTINATION ${CMAKE_INSTALL_DATADIR}/sluice/slurm USE_SOURCE_PERMISSIONS)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(FILES README.md LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
